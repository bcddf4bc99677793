"""NetworkAttachmentDefinitions in files: read, and their route filled in without touching anything else of the file."""
