<#include "attack">
