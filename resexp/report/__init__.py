"""How it looks: figures, tables, pages."""
