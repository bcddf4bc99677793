"""The human's door: click commands, rich tables, exit statuses. The only importer of click and rich."""
