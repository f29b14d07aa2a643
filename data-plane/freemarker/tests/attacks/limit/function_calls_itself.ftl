<#function f x><#return f(x + 1)></#function>${f(1)}
