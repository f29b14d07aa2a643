«70:<#list [1] as x>»${x}«70:</#list>»
