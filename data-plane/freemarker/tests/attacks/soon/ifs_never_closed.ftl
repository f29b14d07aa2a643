«20000:<#if true>»
