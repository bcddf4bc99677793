"""How long the plugin takes, beside Debian's reference `bridge`, in one run. Never asserted, always printed."""
