${(1..)?filter(x -> x lt 0)?size}
