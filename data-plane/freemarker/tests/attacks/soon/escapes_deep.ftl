«75:<#escape x as x + x>»${"a"}«75:</#escape>»
