${(1..)?drop_while(x -> true)?first!}
