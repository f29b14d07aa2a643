${"«5000:[»«5000:]»"?eval_json?size}
