«75:<#macro m№>»x«75:</#macro>»
