<#switch 1>«20000:<#case №2>»</#switch>
