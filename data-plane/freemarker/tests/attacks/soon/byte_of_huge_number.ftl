${("9"?left_pad(900, "9"))?number?byte} ${("9"?left_pad(900, "9"))?number?long}
