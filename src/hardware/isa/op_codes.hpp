// The operations of the intermediate representation: one list, which gives the enumeration here, the handlers
// of the interpreter, and the names in listings.
//
// CBIT_ISA_OPS(OP) calls OP(name, kind, effect, handler...) for each. `handler` is the name of a function
// (with its template arguments) that a back end gives a meaning to; size and condition are template
// arguments, so that the list reads by families:
//
//   name_8, name_16, name_32, name_64                             by operand size
//   name_8 .. name_64, name_quiet_8 .. name_quiet_64              with and without an effect on flags
//   name_o .. name_nle                                            by condition, in the order of encodings
//
// Kinds: plain   computes
//        memory  may fault; nothing has changed then
//        branch  ends the block
//        helper  calls a helper (isa/helpers.hpp)
// Effects on the status flags: none, reads, sets (all of them), updates (keeps some of the old ones, so it
// reads them, too). Followed by _or_none or _or_reads where a quiet twin four places on does just that.
#pragma once

#include <cstdint>

#define CBIT_OPS_SIZED(OP, name, kind, effect, fn) \
  OP(name##_8, kind, effect, fn<std::uint8_t>)     \
  OP(name##_16, kind, effect, fn<std::uint16_t>)   \
  OP(name##_32, kind, effect, fn<std::uint32_t>)   \
  OP(name##_64, kind, effect, fn<std::uint64_t>)

#define CBIT_OPS_FLAGGED(OP, name, kind, effect, twin, fn)  \
  OP(name##_8, kind, effect, fn<std::uint8_t, true>)        \
  OP(name##_16, kind, effect, fn<std::uint16_t, true>)      \
  OP(name##_32, kind, effect, fn<std::uint32_t, true>)      \
  OP(name##_64, kind, effect, fn<std::uint64_t, true>)      \
  OP(name##_quiet_8, kind, twin, fn<std::uint8_t, false>)   \
  OP(name##_quiet_16, kind, twin, fn<std::uint16_t, false>) \
  OP(name##_quiet_32, kind, twin, fn<std::uint32_t, false>) \
  OP(name##_quiet_64, kind, twin, fn<std::uint64_t, false>)

#define CBIT_OPS_CONDITIONS(OP, name, kind, fn) \
  OP(name##_o, kind, reads, fn<Cond::o>)        \
  OP(name##_no, kind, reads, fn<Cond::no>)      \
  OP(name##_b, kind, reads, fn<Cond::b>)        \
  OP(name##_nb, kind, reads, fn<Cond::nb>)      \
  OP(name##_z, kind, reads, fn<Cond::z>)        \
  OP(name##_nz, kind, reads, fn<Cond::nz>)      \
  OP(name##_be, kind, reads, fn<Cond::be>)      \
  OP(name##_nbe, kind, reads, fn<Cond::nbe>)    \
  OP(name##_s, kind, reads, fn<Cond::s>)        \
  OP(name##_ns, kind, reads, fn<Cond::ns>)      \
  OP(name##_p, kind, reads, fn<Cond::p>)        \
  OP(name##_np, kind, reads, fn<Cond::np>)      \
  OP(name##_l, kind, reads, fn<Cond::l>)        \
  OP(name##_nl, kind, reads, fn<Cond::nl>)      \
  OP(name##_le, kind, reads, fn<Cond::le>)      \
  OP(name##_nle, kind, reads, fn<Cond::nle>)

// What a comparison a - b tells without its result: conditions in the order of comparison_index().
#define CBIT_OPS_COMPARISONS(OP, name, kind, effect, fn, ...) \
  OP(name##_b, kind, effect, fn<Cond::b __VA_ARGS__>)         \
  OP(name##_nb, kind, effect, fn<Cond::nb __VA_ARGS__>)       \
  OP(name##_z, kind, effect, fn<Cond::z __VA_ARGS__>)         \
  OP(name##_nz, kind, effect, fn<Cond::nz __VA_ARGS__>)       \
  OP(name##_be, kind, effect, fn<Cond::be __VA_ARGS__>)       \
  OP(name##_nbe, kind, effect, fn<Cond::nbe __VA_ARGS__>)     \
  OP(name##_l, kind, effect, fn<Cond::l __VA_ARGS__>)         \
  OP(name##_nl, kind, effect, fn<Cond::nl __VA_ARGS__>)       \
  OP(name##_le, kind, effect, fn<Cond::le __VA_ARGS__>)       \
  OP(name##_nle, kind, effect, fn<Cond::nle __VA_ARGS__>)

// What a result tells: z, nz, s, ns.
#define CBIT_OPS_SIGNS(OP, name, kind, effect, fn, ...) \
  OP(name##_z, kind, effect, fn<Cond::z __VA_ARGS__>)   \
  OP(name##_nz, kind, effect, fn<Cond::nz __VA_ARGS__>) \
  OP(name##_s, kind, effect, fn<Cond::s __VA_ARGS__>)   \
  OP(name##_ns, kind, effect, fn<Cond::ns __VA_ARGS__>)

// A comparison and the jump that it decides, by size.
#define CBIT_OPS_COMPARE_JUMPS(OP, name, list, fn)               \
  list(OP, name##_8, branch, sets, fn, , std::uint8_t)           \
      list(OP, name##_16, branch, sets, fn, , std::uint16_t)     \
          list(OP, name##_32, branch, sets, fn, , std::uint32_t) \
              list(OP, name##_64, branch, sets, fn, , std::uint64_t)

#define CBIT_OPS_MOVES(OP)                                                       \
  OP(nop, plain, none, nop)                                                      \
  CBIT_OPS_SIZED(OP, mov_rr, plain, none, mov_rr)                                \
  CBIT_OPS_SIZED(OP, mov_ri, plain, none, mov_ri)                                \
  CBIT_OPS_SIZED(OP, load, memory, none, load)                                   \
  CBIT_OPS_SIZED(OP, load_to_modify, memory, none, load_to_modify)               \
  CBIT_OPS_SIZED(OP, store_r, memory, none, store_r)                             \
  CBIT_OPS_SIZED(OP, store_i, memory, none, store_i)                             \
  OP(load_zx_8, memory, none, load_extended<std::uint8_t, std::uint64_t>)        \
  OP(load_zx_16, memory, none, load_extended<std::uint16_t, std::uint64_t>)      \
  OP(load_sx_8_to_32, memory, none, load_extended<std::int8_t, std::uint32_t>)   \
  OP(load_sx_8_to_64, memory, none, load_extended<std::int8_t, std::uint64_t>)   \
  OP(load_sx_16_to_32, memory, none, load_extended<std::int16_t, std::uint32_t>) \
  OP(load_sx_16_to_64, memory, none, load_extended<std::int16_t, std::uint64_t>) \
  OP(load_sx_32_to_64, memory, none, load_extended<std::int32_t, std::uint64_t>) \
  OP(mov_zx_8, plain, none, mov_extended<std::uint8_t, std::uint64_t>)           \
  OP(mov_zx_16, plain, none, mov_extended<std::uint16_t, std::uint64_t>)         \
  OP(mov_sx_8_to_32, plain, none, mov_extended<std::int8_t, std::uint32_t>)      \
  OP(mov_sx_8_to_64, plain, none, mov_extended<std::int8_t, std::uint64_t>)      \
  OP(mov_sx_16_to_32, plain, none, mov_extended<std::int16_t, std::uint32_t>)    \
  OP(mov_sx_16_to_64, plain, none, mov_extended<std::int16_t, std::uint64_t>)    \
  OP(mov_sx_32_to_64, plain, none, mov_extended<std::int32_t, std::uint64_t>)    \
  OP(mov_zx_8_to_16, plain, none, mov_extended<std::uint8_t, std::uint16_t>)     \
  OP(mov_sx_8_to_16, plain, none, mov_extended<std::int8_t, std::uint16_t>)      \
  OP(lea_16, plain, none, lea<std::uint16_t>)                                    \
  OP(lea_32, plain, none, lea<std::uint32_t>)                                    \
  OP(lea_64, plain, none, lea<std::uint64_t>)                                    \
  OP(exchange_16, plain, none, exchange<std::uint16_t>)                          \
  OP(exchange_32, plain, none, exchange<std::uint32_t>)                          \
  OP(exchange_64, plain, none, exchange<std::uint64_t>)                          \
  OP(bswap_32, plain, none, bswap<std::uint32_t>)                                \
  OP(bswap_64, plain, none, bswap<std::uint64_t>)                                \
  OP(bswap_16, plain, none, bswap<std::uint16_t>)                                \
  CBIT_OPS_SIZED(OP, sign_of, plain, none, sign_of)                              \
  OP(push_r_16, memory, none, push_r<std::uint16_t>)                             \
  OP(push_r_64, memory, none, push_r<std::uint64_t>)                             \
  OP(push_i_16, memory, none, push_i<std::uint16_t>)                             \
  OP(push_i_64, memory, none, push_i<std::uint64_t>)                             \
  OP(pop_r_16, memory, none, pop_r<std::uint16_t>)                               \
  OP(pop_r_64, memory, none, pop_r<std::uint64_t>)                               \
  OP(mov_128, plain, none, mov_128)                                              \
  OP(load_128, memory, none, load_128)                                           \
  OP(store_128, memory, none, store_128)                                         \
  OP(load_64_to_128, memory, none, load_to_128<std::uint64_t>)                   \
  OP(load_32_to_128, memory, none, load_to_128<std::uint32_t>)                   \
  OP(mov_64_to_128, plain, none, mov_to_128<std::uint64_t>)                      \
  OP(mov_32_to_128, plain, none, mov_to_128<std::uint32_t>)

#define CBIT_OPS_ARITHMETIC(OP)                                        \
  CBIT_OPS_FLAGGED(OP, add_rr, plain, sets_or_none, none, add_rr)      \
  CBIT_OPS_FLAGGED(OP, add_ri, plain, sets_or_none, none, add_ri)      \
  CBIT_OPS_FLAGGED(OP, add_rm, memory, sets_or_none, none, add_rm)     \
  CBIT_OPS_FLAGGED(OP, sub_rr, plain, sets_or_none, none, sub_rr)      \
  CBIT_OPS_FLAGGED(OP, sub_ri, plain, sets_or_none, none, sub_ri)      \
  CBIT_OPS_FLAGGED(OP, sub_rm, memory, sets_or_none, none, sub_rm)     \
  CBIT_OPS_FLAGGED(OP, and_rr, plain, sets_or_none, none, and_rr)      \
  CBIT_OPS_FLAGGED(OP, and_ri, plain, sets_or_none, none, and_ri)      \
  CBIT_OPS_FLAGGED(OP, and_rm, memory, sets_or_none, none, and_rm)     \
  CBIT_OPS_FLAGGED(OP, or_rr, plain, sets_or_none, none, or_rr)        \
  CBIT_OPS_FLAGGED(OP, or_ri, plain, sets_or_none, none, or_ri)        \
  CBIT_OPS_FLAGGED(OP, or_rm, memory, sets_or_none, none, or_rm)       \
  CBIT_OPS_FLAGGED(OP, xor_rr, plain, sets_or_none, none, xor_rr)      \
  CBIT_OPS_FLAGGED(OP, xor_ri, plain, sets_or_none, none, xor_ri)      \
  CBIT_OPS_FLAGGED(OP, xor_rm, memory, sets_or_none, none, xor_rm)     \
  CBIT_OPS_FLAGGED(OP, adc_rr, plain, updates_or_reads, reads, adc_rr) \
  CBIT_OPS_FLAGGED(OP, adc_ri, plain, updates_or_reads, reads, adc_ri) \
  CBIT_OPS_FLAGGED(OP, sbb_rr, plain, updates_or_reads, reads, sbb_rr) \
  CBIT_OPS_FLAGGED(OP, sbb_ri, plain, updates_or_reads, reads, sbb_ri) \
  CBIT_OPS_SIZED(OP, cmp_rr, plain, sets, cmp_rr)                      \
  CBIT_OPS_SIZED(OP, cmp_ri, plain, sets, cmp_ri)                      \
  CBIT_OPS_SIZED(OP, cmp_rm, memory, sets, cmp_rm)                     \
  CBIT_OPS_SIZED(OP, cmp_mr, memory, sets, cmp_mr)                     \
  CBIT_OPS_SIZED(OP, cmp_mi, memory, sets, cmp_mi)                     \
  CBIT_OPS_SIZED(OP, test_rr, plain, sets, test_rr)                    \
  CBIT_OPS_SIZED(OP, test_ri, plain, sets, test_ri)                    \
  CBIT_OPS_SIZED(OP, test_mr, memory, sets, test_mr)                   \
  CBIT_OPS_SIZED(OP, test_mi, memory, sets, test_mi)                   \
  CBIT_OPS_FLAGGED(OP, inc, plain, updates_or_none, none, inc)         \
  CBIT_OPS_FLAGGED(OP, dec, plain, updates_or_none, none, dec)         \
  CBIT_OPS_FLAGGED(OP, neg, plain, sets_or_none, none, neg)            \
  CBIT_OPS_SIZED(OP, complement, plain, none, complement)              \
  CBIT_OPS_FLAGGED(OP, mul, plain, sets_or_none, none, mul)            \
  CBIT_OPS_FLAGGED(OP, imul, plain, sets_or_none, none, imul)          \
  CBIT_OPS_FLAGGED(OP, imul_rr, plain, sets_or_none, none, imul_rr)    \
  CBIT_OPS_FLAGGED(OP, imul_ri, plain, sets_or_none, none, imul_ri)    \
  CBIT_OPS_SIZED(OP, div, memory, none, div)                           \
  CBIT_OPS_SIZED(OP, idiv, memory, none, idiv)

#define CBIT_OPS_SHIFTS(OP)                                          \
  CBIT_OPS_FLAGGED(OP, shl_ri, plain, sets_or_none, none, shl_ri)    \
  CBIT_OPS_FLAGGED(OP, shr_ri, plain, sets_or_none, none, shr_ri)    \
  CBIT_OPS_FLAGGED(OP, sar_ri, plain, sets_or_none, none, sar_ri)    \
  CBIT_OPS_FLAGGED(OP, shl_rc, plain, updates_or_none, none, shl_rc) \
  CBIT_OPS_FLAGGED(OP, shr_rc, plain, updates_or_none, none, shr_rc) \
  CBIT_OPS_FLAGGED(OP, sar_rc, plain, updates_or_none, none, sar_rc) \
  CBIT_OPS_FLAGGED(OP, rol_ri, plain, updates_or_none, none, rol_ri) \
  CBIT_OPS_FLAGGED(OP, ror_ri, plain, updates_or_none, none, ror_ri) \
  CBIT_OPS_FLAGGED(OP, rol_rc, plain, updates_or_none, none, rol_rc) \
  CBIT_OPS_FLAGGED(OP, ror_rc, plain, updates_or_none, none, ror_rc) \
  CBIT_OPS_SIZED(OP, rcl_ri, plain, updates, rcl_ri)                 \
  CBIT_OPS_SIZED(OP, rcr_ri, plain, updates, rcr_ri)                 \
  CBIT_OPS_SIZED(OP, rcl_rc, plain, updates, rcl_rc)                 \
  CBIT_OPS_SIZED(OP, rcr_rc, plain, updates, rcr_rc)                 \
  CBIT_OPS_SIZED(OP, shld_ri, plain, updates, shld_ri)               \
  CBIT_OPS_SIZED(OP, shrd_ri, plain, updates, shrd_ri)               \
  CBIT_OPS_SIZED(OP, shld_rc, plain, updates, shld_rc)               \
  CBIT_OPS_SIZED(OP, shrd_rc, plain, updates, shrd_rc)               \
  CBIT_OPS_SIZED(OP, bt, plain, updates, bt)                         \
  CBIT_OPS_SIZED(OP, bts, plain, updates, bts)                       \
  CBIT_OPS_SIZED(OP, btr, plain, updates, btr)                       \
  CBIT_OPS_SIZED(OP, btc, plain, updates, btc)                       \
  CBIT_OPS_SIZED(OP, bit_address, plain, none, bit_address)          \
  CBIT_OPS_SIZED(OP, bsf, plain, sets, bsf)                          \
  CBIT_OPS_SIZED(OP, bsr, plain, sets, bsr)                          \
  CBIT_OPS_SIZED(OP, popcnt, plain, sets, popcnt)                    \
  CBIT_OPS_SIZED(OP, tzcnt, plain, sets, tzcnt)                      \
  CBIT_OPS_SIZED(OP, lzcnt, plain, sets, lzcnt)                      \
  CBIT_OPS_SIZED(OP, cmpxchg, plain, sets, cmpxchg)

#define CBIT_OPS_CONDITIONAL(OP)                                                              \
  OP(flags_to_ah, plain, reads, flags_to_ah)                                                  \
  OP(ah_to_flags, plain, updates, ah_to_flags)                                                \
  OP(carry_set, plain, updates, change_carry<Cond::b>)                                        \
  OP(carry_clear, plain, updates, change_carry<Cond::nb>)                                     \
  OP(carry_flip, plain, updates, change_carry<Cond::o>)                                       \
  OP(select_if_zero, plain, none, select_if_zero)                                             \
  OP(direction, plain, none, direction)                                                       \
  CBIT_OPS_CONDITIONS(OP, set, plain, set_if)                                                 \
  CBIT_OPS_COMPARISONS(OP, set_compared, plain, reads, set_if_compared)                       \
  CBIT_OPS_CONDITIONS(OP, move_16, plain, move_16_if)                                         \
  CBIT_OPS_CONDITIONS(OP, move_32, plain, move_32_if)                                         \
  CBIT_OPS_CONDITIONS(OP, move_64, plain, move_64_if)                                         \
  CBIT_OPS_COMPARISONS(OP, move_32_compared, plain, reads, move_if_compared, , std::uint32_t) \
  CBIT_OPS_COMPARISONS(OP, move_64_compared, plain, reads, move_if_compared, , std::uint64_t)

#define CBIT_OPS_BRANCHES(OP)                                                \
  OP(enter, branch, none, enter)                                             \
  OP(enter_among_others, branch, none, enter_among_others)                   \
  OP(stale, branch, none, stale)                                             \
  OP(translated, branch, none, translated)                                   \
  OP(jump, branch, none, jump)                                               \
  OP(exit, branch, none, exit)                                               \
  OP(exit_page, branch, none, exit_page)                                     \
  OP(jump_indirect, branch, none, jump_indirect)                             \
  OP(call_direct, branch, none, call_direct)                                 \
  OP(call_indirect, branch, none, call_indirect)                             \
  OP(return_near, branch, none, return_near)                                 \
  CBIT_OPS_CONDITIONS(OP, jump, branch, jump_if)                             \
  CBIT_OPS_COMPARISONS(OP, jump_compared, branch, reads, jump_if_compared)   \
  CBIT_OPS_SIGNS(OP, jump_result, branch, reads, jump_if_result)             \
  CBIT_OPS_COMPARE_JUMPS(OP, cmp_rr_jump, CBIT_OPS_COMPARISONS, cmp_rr_jump) \
  CBIT_OPS_COMPARE_JUMPS(OP, cmp_ri_jump, CBIT_OPS_COMPARISONS, cmp_ri_jump) \
  CBIT_OPS_COMPARE_JUMPS(OP, test_rr_jump, CBIT_OPS_SIGNS, test_rr_jump)     \
  CBIT_OPS_COMPARE_JUMPS(OP, test_ri_jump, CBIT_OPS_SIGNS, test_ri_jump)     \
  OP(jump_if_zero_16, branch, none, jump_if_zero<std::uint16_t>)             \
  OP(jump_if_zero_32, branch, none, jump_if_zero<std::uint32_t>)             \
  OP(jump_if_zero_64, branch, none, jump_if_zero<std::uint64_t>)             \
  OP(helper, helper, updates, helper)

#define CBIT_ISA_OPS(OP)  \
  CBIT_OPS_MOVES(OP)      \
  CBIT_OPS_ARITHMETIC(OP) \
  CBIT_OPS_SHIFTS(OP)     \
  CBIT_OPS_BRANCHES(OP)   \
  CBIT_OPS_CONDITIONAL(OP)
