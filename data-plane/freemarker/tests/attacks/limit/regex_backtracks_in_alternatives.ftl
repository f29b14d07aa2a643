${(big + "!")?matches("(a|aa)+$")?c}
