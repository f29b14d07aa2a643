${(1..)?take_while(x -> true)?size}
