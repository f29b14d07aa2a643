«30:<#escape x as x + x>»${"a"}«30:</#escape>»
