"""The crash storm: alerts while everything is killed again and again, and an audit of what became of them."""
