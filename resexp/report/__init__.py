"""Reports: tables, sentences, pages, figures. No torch."""
