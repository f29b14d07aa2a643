${(big + "b")?matches("(a*)*\\1c")?c}
