<#import "attack" as a>x
