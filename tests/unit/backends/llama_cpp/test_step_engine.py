"""The step loop against a simulated cache (simulated.py), one event a test.

test_step_engine_together.py has everything at once.
"""

import pytest

from backends.base import JobError
from backends.protocol import Capacity, Delta, Failed, Finished, ItemDone, Started
from tests.unit.backends.llama_cpp.simulated import VOCABULARY, Bench, FakeDrafter, answer

PROMPT = [5, 6, 7]


def test_a_job_is_told_in_order() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=5)
    bench.run()
    assert [type(output) for output in bench.outputs] == [Started, ItemDone, Finished]
    result = bench.of(ItemDone, "a")[0].result
    assert (result.text, result.finish_reason) == answer(PROMPT, 5)
    assert (result.prompt_tokens, result.completion_tokens) == (3, len(result.text))


def test_a_stream_shows_in_deltas_what_would_have_been_the_text() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=9, stream=True)
    bench.run()
    deltas = bench.of(Delta, "a")
    assert "".join(delta.text for delta in deltas) == answer(PROMPT, 9)[0]
    assert sum(delta.tokens for delta in deltas) == bench.of(ItemDone, "a")[0].result.completion_tokens
    assert bench.text("a") == ""


def test_items_of_a_job_run_side_by_side_and_it_finishes_once() -> None:
    bench = Bench()
    prompts = [[1, 2], [3], [4, 5, 6]]
    bench.add("a", *prompts, max_tokens=6)
    bench.run()
    assert [bench.text("a", item) for item in range(3)] == [answer(prompt, 6)[0] for prompt in prompts]
    assert len(bench.of(Started, "a")) == len(bench.of(Finished, "a")) == 1


def test_the_model_ends_its_answer() -> None:
    prompt = next([i] for i in range(1, 128) if 1 < len(answer([i], 90)[0]) < 80)
    bench = Bench()
    bench.add("a", prompt, max_tokens=90)
    bench.run()
    assert bench.of(ItemDone, "a")[0].result.finish_reason == "stop"
    assert bench.text("a") == answer(prompt, 90)[0]


def test_without_max_tokens_the_context_is_the_limit() -> None:
    prompt = next([i] * 190 for i in range(1, 128) if answer([i] * 190, 10)[1] == "length")
    bench = Bench()
    bench.add("a", prompt)
    bench.run()
    result = bench.of(ItemDone, "a")[0].result
    assert (result.finish_reason, result.completion_tokens) == ("length", 10)


def test_a_stop_string_ends_the_answer_and_frees_its_cells() -> None:
    full, _ = answer(PROMPT, 20)
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=20, stop=[full[4:6]])
    bench.run()
    assert bench.text("a") == full[: full.index(full[4:6])]
    assert bench.decoder.used == 0


@pytest.mark.parametrize("prompt", [[], [1, VOCABULARY], [-1], [1] * 200])
def test_a_prompt_that_can_never_run_is_refused(prompt: list[int]) -> None:
    with pytest.raises(JobError):
        Bench().add("a", prompt)


def test_an_abort_frees_cells_in_every_phase() -> None:
    bench = Bench(n_batch=16)
    bench.add("decoding", [1] * 4, max_tokens=90)
    bench.step(3)
    bench.add("prefilling", [2] * 100)
    bench.step()
    for index in range(4):
        bench.add(f"waiting{index}", [3])
    assert 0 < bench.decoder.used < 104
    for job_id in ("prefilling", "decoding", *(f"waiting{index}" for index in range(4))):
        assert bench.engine.abort(job_id)
    assert bench.decoder.used == 0
    assert not bench.engine.has_work()
    assert not bench.engine.abort("decoding")


def test_prefill_never_starves_running_answers() -> None:
    bench = Bench(n_batch=16)
    bench.add("a", PROMPT, max_tokens=30, stream=True)
    bench.step()
    bench.add("b", [2] * 100, max_tokens=1)
    before = len(bench.of(Delta, "a"))
    bench.step(5)
    assert len(bench.of(Delta, "a")) - before == 5


def test_preempted_answers_come_out_whole() -> None:
    bench = Bench(n_ctx=64)
    long_answers = (prompt for i in range(1, 128) if answer(prompt := [i] * 4, 40)[1] == "length")
    prompts = {f"j{i}": next(long_answers) for i in range(4)}
    for job_id, prompt in prompts.items():
        bench.add(job_id, prompt, max_tokens=40, stream=True)
    preemptions = 0
    while bench.engine.has_work():
        bench.step()
        preemptions += bench.engine.stats().preemptions
    assert preemptions > 0
    for job_id, prompt in prompts.items():
        assert "".join(delta.text for delta in bench.of(Delta, job_id)) == answer(prompt, 40)[0]
        assert len(bench.of(Started, job_id)) == 1


def test_a_larger_priority_goes_first_and_leaves_last() -> None:
    bench = Bench(sequences=1)
    bench.add("low", PROMPT, max_tokens=2)
    bench.add("high", PROMPT, max_tokens=2, priority=5)
    bench.run()
    assert [output.job_id for output in bench.outputs if isinstance(output, Finished)] == ["high", "low"]


def test_a_failed_decode_fails_only_the_suspect() -> None:
    bench = Bench()
    bench.decoder.fault = lambda added: -3 if any(99 in tokens for tokens in added.values()) else 0
    bench.add("good", PROMPT, max_tokens=10)
    bench.add("bad", [1, 99, 2], max_tokens=10)
    bench.add("fine", [8, 9], max_tokens=10)
    bench.run()
    assert bench.text("good") == answer(PROMPT, 10)[0]
    assert bench.text("fine") == answer([8, 9], 10)[0]
    failed = bench.of(Failed, "bad")
    assert [(failure.kind, len(failed)) for failure in failed] == [("internal", 1)]
    assert not bench.of(Finished, "bad")
    assert bench.decoder.used == 0


def test_a_fault_that_passes_costs_nobody_an_answer() -> None:
    bench = Bench()
    results = iter([0, 0, -3])
    bench.decoder.fault = lambda _: next(results, 0)
    bench.add("a", PROMPT, max_tokens=10)
    bench.add("b", [8, 9], max_tokens=10)
    bench.run()
    assert bench.text("a") == answer(PROMPT, 10)[0]
    assert bench.text("b") == answer([8, 9], 10)[0]


def test_a_half_done_decode_is_taken_up_where_the_cache_stands() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=10)
    bench.add("b", [8, 9], max_tokens=10)
    bench.step(2)
    results = iter([2])
    bench.decoder.fault = lambda _: next(results, 0)
    bench.run()
    assert bench.text("a") == answer(PROMPT, 10)[0]
    assert bench.text("b") == answer([8, 9], 10)[0]


def test_a_job_that_finds_no_memory_twice_says_so() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: -2
    bench.add("a", PROMPT)
    bench.run()
    assert [failure.kind for failure in bench.of(Failed, "a")] == ["out_of_memory"]


def test_a_cache_that_is_full_before_its_time_takes_the_youngest_out() -> None:
    bench = Bench()
    bench.decoder.fault = lambda added: 1 if len(added) > 2 else 0
    prompts = {f"j{i}": [i + 1] * 4 for i in range(4)}
    for job_id, prompt in prompts.items():
        bench.add(job_id, prompt, max_tokens=12)
    bench.run()
    assert all(bench.text(job_id) == answer(prompt, 12)[0] for job_id, prompt in prompts.items())


def test_a_cache_with_no_room_for_one_fails_it() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: 1
    bench.add("a", PROMPT)
    bench.run()
    assert [failure.kind for failure in bench.of(Failed, "a")] == ["out_of_memory"]


def test_capacity_counts_what_is_promised() -> None:
    bench = Bench()
    assert bench.engine.capacity() == Capacity(free_sequences=4, free_kv_tokens=256, queued=0, received=0)
    bench.add("a", [1] * 6, [2] * 10)
    assert bench.engine.capacity() == Capacity(free_sequences=4, free_kv_tokens=240, queued=2, received=0)
    bench.step()
    capacity = bench.engine.capacity()
    assert (capacity.free_sequences, capacity.queued) == (2, 0)


def test_jobs_that_have_not_started_are_given_back_the_newest_first() -> None:
    bench = Bench(sequences=1)
    for job_id in "abcd":
        bench.add(job_id, PROMPT, max_tokens=30)
    bench.step()
    assert bench.engine.requeue(1) == ["d", "c"]
    bench.run()
    assert {output.job_id for output in bench.outputs} == {"a", "b"}


def test_stats_tell_of_the_step() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=5)
    bench.step()
    assert bench.engine.stats().prefill_tokens == 3
    bench.step()
    stats = bench.engine.stats()
    assert (stats.batch_items, stats.decode_tokens, stats.prefill_tokens) == (1, 1, 0)
    assert (stats.running, stats.kv_used, stats.kv_total) == (1, 4, 256)


@pytest.mark.parametrize("n_batch", [1, 16, 64])
def test_warm_up_leaves_the_cache_empty(n_batch: int) -> None:
    bench = Bench(n_batch=n_batch, drafter=FakeDrafter())
    bench.engine.warm_up()
    assert bench.decoder.used == 0


def test_a_model_that_cannot_decode_does_not_get_ready() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: -3
    with pytest.raises(RuntimeError, match="-3"):
        bench.engine.warm_up()


def test_closing_frees_the_library() -> None:
    bench = Bench()
    bench.add("a", PROMPT)
    bench.step()
    bench.engine.close()
    assert bench.decoder.closed
    assert bench.model.closed


def test_answers_to_a_prompt_that_a_grammar_refuses_fail_once() -> None:
    bench = Bench()
    bench.add("a", PROMPT, grammar="refused", n=3)
    bench.run()
    assert [(failed.kind, failed.code) for failed in bench.of(Failed, "a")] == [
        ("invalid_request", "grammar_failed")
    ]
    bench.check_rest()


def test_an_ended_sequence_serves_who_begins_alike() -> None:
    bench = Bench(kept=2)
    beginning = list(range(40, 100))
    bench.add("a", [*beginning, 1], max_tokens=4)
    bench.run()
    bench.add("b", [*beginning, 2], max_tokens=4)
    bench.run()
    assert bench.done("a").result.cached_tokens == 0
    assert bench.done("b").result.cached_tokens == 60
    assert bench.text("b") == answer([*beginning, 2], 4)[0]


def test_several_answers_to_a_prompt_compute_it_once() -> None:
    bench = Bench(kept=2, n_batch=128)
    prompt = list(range(40, 100))
    bench.add("a", prompt, max_tokens=3, n=4)
    bench.run()
    assert [bench.text("a", item) for item in range(4)] == [answer(prompt, 3)[0]] * 4
    assert sum(bench.decoder.sizes) < 60 + 4 * 4
    assert bench.decoder.copies == 3


def test_who_ends_between_others_leaves_no_gap_apart() -> None:
    bench = Bench(apart=16)
    prompts = [prompt for i in range(1, 128) if answer(prompt := [i], 30)[1] == "length"]
    for index, most in enumerate([20, 3, 20, 20]):
        bench.add(f"j{index}", prompts[index], max_tokens=most)
    bench.run()
    assert bench.decoder.copies > 0
    assert bench.decoder.gaps == 0
    for index, most in enumerate([20, 3, 20, 20]):
        assert bench.text(f"j{index}") == answer(prompts[index], most)[0]


def test_with_cells_of_their_own_prompts_and_answers_share_a_decode() -> None:
    bench = Bench(partitioned=True, n_ctx=1024)
    prompts = [prompt for i in range(1, 128) if answer(prompt := [i], 30)[1] == "length"]
    for index, most in enumerate([20, 3, 20, 20]):
        bench.add(f"j{index}", prompts[index], max_tokens=most)
    bench.run()
    assert max(map(len, bench.decoder.batches)) == 4
    assert (bench.decoder.copies, bench.decoder.gaps) == (1, 0)
    for index, most in enumerate([20, 3, 20, 20]):
        assert bench.text(f"j{index}") == answer(prompts[index], most)[0]


def test_with_cells_of_their_own_several_answers_compute_a_prompt_once() -> None:
    bench = Bench(partitioned=True, n_ctx=1024)
    prompt = next(one for i in range(1, 60) if answer(one := list(range(i, i + 60)), 3)[1] == "length")
    bench.add("a", prompt, max_tokens=3, n=4)
    bench.run()
    assert [bench.text("a", item) for item in range(4)] == [answer(prompt, 3)[0]] * 4
    assert sum(bench.decoder.sizes) < 60 + 4 * 4


def test_with_cells_of_its_own_one_goes_on_from_a_saved_state() -> None:
    bench = Bench(partitioned=True, n_ctx=1024)
    prompt = list(range(1, 100))
    bench.add("a", prompt, max_tokens=3)
    bench.run()
    bench.add("b", [*prompt, 7], max_tokens=3)
    bench.run()
    assert bench.text("b") == answer([*prompt, 7], 3)[0]
    assert bench.done("b").result.cached_tokens == len(prompt)


def test_apart_a_prompt_is_computed_alone_in_pieces_of_its_own() -> None:
    bench = Bench(apart=16, n_ctx=1024)
    bench.add("a", list(range(1, 41)), max_tokens=3)
    bench.step(4)
    bench.add("b", list(range(50, 70)), max_tokens=3)
    bench.run()
    longer = [batch for batch in bench.decoder.batches if max(map(len, batch.values())) > 1]
    assert [[len(tokens) for tokens in batch.values()] for batch in longer] == [[16], [16], [8], [16], [4]]


def test_adapters_take_turns_and_never_meet() -> None:
    bench = Bench()
    prompts = [prompt for i in range(1, 128) if answer(prompt := [i], 20)[1] == "length"]
    bench.add("plain", prompts[0], max_tokens=20)
    bench.add("tuned", prompts[0], max_tokens=20, adapters={"a": 1.0})
    bench.run()
    assert bench.text("plain") == answer(prompts[0], 20)[0]
    assert bench.text("tuned") == answer(prompts[0], 20, "a")[0]
    assert set(map(len, bench.decoder.batches)) == {1}


def test_drafts_that_are_right_spare_decodes_and_nobody_leaves_for_them() -> None:
    prompts = [prompt for i in range(1, 128) if answer(prompt := [i] * 4, 40)[1] == "length"][:4]
    steps = {}
    for drafter in (None, FakeDrafter()):
        bench = Bench(n_ctx=4 * 44, drafter=drafter)
        bench.engine.warm_up()
        for index, prompt in enumerate(prompts):
            bench.add(f"j{index}", prompt, max_tokens=40)
        steps[drafter is None] = 0
        while bench.engine.has_work():
            bench.step()
            steps[drafter is None] += 1
            assert bench.engine.stats().preemptions == 0
        assert [bench.text(f"j{index}") for index in range(4)] == [answer(one, 40)[0] for one in prompts]
        accepted = [bench.done(f"j{index}").result.accepted_draft_tokens for index in range(4)]
        assert all(accepted) == (drafter is not None)
    assert steps[False] < 0.7 * steps[True]


def test_a_grammar_that_breaks_fails_its_job_and_leaves_nothing_behind() -> None:
    bench = Bench(kept=2, drafter=FakeDrafter())
    prompt = list(range(40, 60))
    bench.add("bad", prompt, max_tokens=20, n=3, grammar=f"{' '.join(map(str, prompt))}||2")
    bench.add("good", [*prompt, 3], max_tokens=20)
    bench.run()
    assert [failed.code for failed in bench.of(Failed, "bad")] == ["grammar_failed"]
    assert bench.text("good") == answer([*prompt, 3], 20)[0]
    bench.check_rest()


def test_an_echo_whose_decode_was_half_done_is_computed_again() -> None:
    bench = Bench(n_batch=16)
    prompt = list(range(1, 31))
    bench.add("a", prompt, max_tokens=3, echo=True, logprobs=0)
    results = iter([0, 2])
    bench.decoder.fault = lambda _: next(results, 0)
    bench.run()
    result = bench.done("a").result
    assert [logprob.id for logprob in result.logprobs] == [ord(one) for one in result.text]
    assert [ord(one) for one in result.text[:30]] == prompt


def test_an_echo_whose_last_token_comes_alone_may_have_a_draft() -> None:
    bench = Bench(drafter=FakeDrafter())
    bench.engine.warm_up()
    prompt = next(p for i in range(1, 128) if answer(p := [i] * 65, 20)[1] == "length")
    bench.add("a", prompt, max_tokens=20, echo=True, logprobs=0)
    bench.run()
    result = bench.done("a").result
    assert result.text == "".join(map(chr, prompt)) + answer(prompt, 20)[0]
    assert [logprob.id for logprob in result.logprobs] == [ord(one) for one in result.text]
