<#function f x><#return [x, x]?map(y -> f(y))?join("")></#function>${f(1)}
