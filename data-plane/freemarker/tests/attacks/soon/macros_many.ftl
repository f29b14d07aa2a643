«10000:<#macro m№></#macro>»
