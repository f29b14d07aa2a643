«20000:<#attempt>»x«20000:<#recover></#attempt>»
