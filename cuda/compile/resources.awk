# Reads what ptxas -v prints and writes one line per kernel:
#   kernel arch registers R spill_stores S spill_loads L shared B
/Compiling entry function/ { split($0, q, "'"); kernel = q[2]; arch = q[4] }
/bytes stack frame/ {
  for (i = 3; i < NF; i++) if ($i == "spill") { if ($(i + 1) ~ /^stores/) stores = $(i - 2); else loads = $(i - 2) }
}
/Used [0-9]+ registers/ {
  shared = 0
  for (i = 1; i < NF; i++) {
    if ($i == "Used") registers = $(i + 1)
    if ($(i + 2) ~ /^smem/) shared = $i
  }
  print kernel, arch, "registers", registers, "spill_stores", stores, "spill_loads", loads, "shared", shared
}
