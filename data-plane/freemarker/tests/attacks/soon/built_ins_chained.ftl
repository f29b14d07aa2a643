${"a"«20000:?upper_case»}
