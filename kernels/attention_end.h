// Undoes attention_tile.h's names, before the next level is compiled.
#undef VF
#undef VI
#undef VU
#undef FN
#undef PIECE
#undef NV_MAX
#undef ROWS
#undef AHEAD
