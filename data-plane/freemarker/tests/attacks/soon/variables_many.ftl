«10000:<#assign v№ = №>»
