${"a"?matches("«5000:(a|b)»")?c}
