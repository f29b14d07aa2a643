${(1..)?seq_contains("x")?c}
