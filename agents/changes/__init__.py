"""The changes that exist, a file each kind of thing they are made to. `agents.actions` lists them."""
