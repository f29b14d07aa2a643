${(0..2000000000)?reverse?size}
