${("a"?right_pad(2147483647, "ab"))?length}
