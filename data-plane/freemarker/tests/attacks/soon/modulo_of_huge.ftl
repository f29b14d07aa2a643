${"1e900"?number % 7}
