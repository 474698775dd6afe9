"""Analysis of records: cells, statistics, contrasts, theory, verdicts. No torch."""
