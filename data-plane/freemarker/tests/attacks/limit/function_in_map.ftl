<#function f x><#return many?map(f)?size></#function>${f(1)}
