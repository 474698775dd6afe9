"""The claims of the article, one file each."""
