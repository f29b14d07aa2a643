${("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")?matches("(a+)+$")?c}
