${"1e-900"?number?round} ${"-1e-900"?number?floor}
