from isic_tf.distribution import tpu_program

# What a program of libtpu looks like, shortened.
TEXT = """HloModule step, is_scheduled=true

%fused_computation.1 (param_0: f32[8,128]) -> f32[8,128] {
  %param_0 = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %gather.3 = f32[8,128]{1,0:T(8,128)} gather(%param_0, %param_0), metadata={op_name="augment/GatherV2"}
}

%condition.1 (state: (s32[], f32[8,128])) -> pred[] {
  %constant.15 = s32[]{:T(128)} constant(4)
  %state = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  ROOT %compare.1 = pred[]{:T(512)} compare(%state, %constant.15), direction=LT
}

%inner_condition (state: s32[]) -> pred[] {
  %constant.16 = s32[]{:T(128)} constant(3)
}

%inner_body (state: s32[]) -> s32[] {
  ROOT %add.7 = s32[]{:T(128)} add(%state.3, %state.3), backend_config={"window_config":{"estimated_cycles":"5"}}
}

%body.1 (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %constant.99 = s32[]{:T(128)} constant(1000)
  %while.2 = s32[] while(%state.4), condition=%inner_condition, body=%inner_body
  ROOT %convolution.5 = f32[8,128]{1,0:T(8,128)} convolution(%a, %b), metadata={op_name="while/stem/Conv2D"}, \
backend_config={"window_config":{"estimated_cycles":"100"}}
}

ENTRY %main.4 (arg0: f32[8,128]) -> f32[8,128] {
  %while.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) while(%tuple.1), condition=%condition.1, body=%body.1
  %copy.1 = f32[8,128]{1,0:T(8,128)} copy(%while.1), backend_config={"flag_configs":[]}
  ROOT %fusion.1 = (f32[8,128]{1,0:T(8,128)S(1)}, /*index=1*/f32[]{:T(128)}) fusion(%copy.1), kind=kLoop, \
calls=%fused_computation.1, metadata={op_name="augment/add"}, backend_config={"estimated_cycles":"150"}
}
"""


def test_operations_are_listed_with_their_cycles_over_all_rounds_of_a_loop():
    found = tpu_program.list_operations(TEXT)
    assert [(operation.kind, operation.cycles, operation.repeats) for operation in found] == [
        ("convolution", 400, 4),
        ("fusion", 150, 1),
        ("add", 4 * 3 * 5, 12),
    ]
    assert [operation.scope for operation in found] == ["while/stem/Conv2D", "augment/add", ""]
    assert [operation.shape for operation in found] == ["f32[8,128]", "f32[8,128]", "s32[]"]


def test_a_loop_without_a_constant_bound_counts_once():
    text = TEXT.replace("constant(4)", "parameter(1)").replace("constant(3)", "parameter(1)")
    assert [operation.cycles for operation in tpu_program.list_operations(text)] == [150, 100, 5]


def test_instructions_are_counted_within_fusions_too():
    counts = tpu_program.count_kinds(TEXT)
    assert counts["gather"] == 1
    assert counts["while"] == 2
    assert counts["constant"] == 3
    assert "scatter" not in counts


def test_an_empty_program_has_no_operations():
    assert tpu_program.list_operations("") == []
    assert tpu_program.count_kinds("") == {}
