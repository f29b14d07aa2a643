<#function f x><#return [x, x]?map(y -> f(y))?size></#function>${f(1)}
