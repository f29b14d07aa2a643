<#function f x><#return many?map(f)?join("")></#function>${f(1)}
