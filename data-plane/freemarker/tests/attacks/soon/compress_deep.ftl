«70:<#compress>»  x  «70:</#compress>»
