"""The end of a replica's stretch of steps: tokens come, requests are done; and what may end it early."""

from __future__ import annotations

from rackrate.simulation.compiled import jit_inline
from rackrate.simulation.prefix import take_pages
from rackrate.simulation.queues import end_segment, give_back, pages_of_further_steps, phase_of, push, remove, take_out
from rackrate.simulation.slots import free_slot, next_read
from rackrate.simulation.state import ABSENT, DECODING, END, FORM, NOBODY, PLACE, SHIFT, Core, Out, Prefix
from rackrate.simulation.step import steps_s, steps_until
from rackrate.simulation.tally import check_slo


@jit_inline
def may_interrupt(core: Core, replica: int) -> bool:
    """Whether an arrival could be admitted at the next step boundary: nobody waits, and there is room to run."""
    engine = core.replicas[replica]
    return (
        engine.phase == END
        and engine.stretch > 1
        and engine.wait_head == NOBODY
        and engine.running < core.settings.max_sequences
        and engine.decoding < core.settings.budget
    )


@jit_inline
def interrupt(core: Core, replica: int, moment: float) -> None:
    """Ends the present stretch at the first step boundary that is not before a moment."""
    engine = core.replicas[replica]
    first, growth, begun = engine.first_step_s, engine.growth_s, engine.begun_s
    steps = steps_until(first, growth, begun, moment)
    if steps < engine.stretch:
        engine.stretch = steps
        engine.when_s = begun + steps_s(first, growth, steps)


@jit_inline
def _finish(core: Core, prefix: Prefix, out: Out, replica: int, place: int, now: float) -> None:
    """A request has its last token."""
    request = core.queue[place]
    number = request.id
    output = request.output
    due, first = request.due_s, request.first_s
    tpot = (now - first) / (output - 1) if output > 1 else -1.0
    check_slo(core, out, number, first - due, tpot, now - due)
    end_segment(core, out, replica, place)
    give_back(core, prefix, replica, place, request.input + output - 1)
    take_out(core, replica, place)
    if core.settings.slotted > 0:
        free_slot(core, replica, place)
    request.status = ABSENT
    core.replicas[replica].in_flight -= 1
    core.totals.finished += 1
    core.totals.output += output
    if number < len(out.done):
        done = out.done[number]
        done.due_s, done.first_token_s, done.done_s = due, first, now
        done.cached_tokens, done.replica, done.preemptions = request.hits, replica, request.preemptions


@jit_inline
def end_stretch(core: Core, prefix: Prefix, out: Out, replica: int) -> int:
    """Ends the present stretch of steps: tokens come, requests are done. Returns how many."""
    engine = core.replicas[replica]
    now = engine.when_s
    steps = engine.stretch
    decodes = engine.decoding
    if core.settings.traced:
        jump = out.jumps[core.totals.jumps]
        jump.replica, jump.before, jump.steps = replica, engine.decode_step, steps
        jump.begun_s, jump.first_step_s, jump.growth_s = engine.begun_s, engine.first_step_s, engine.growth_s
        core.totals.jumps += 1
    if decodes > 0:
        taken = pages_of_further_steps(core, replica, steps - 1)
        if taken > 0:
            take_pages(core, prefix, replica, taken)
        engine.context += steps * decodes
    engine.decode_step += steps
    core.totals.steps += steps
    core.totals.busy_s += now - engine.begun_s
    core.totals.prefill_s += engine.prefill_part_s
    step = engine.decode_step
    done = 0
    while engine.decoding > 0 and (core.heap[replica, 0] >> SHIFT) == step:
        place = core.heap[replica, 0] & PLACE
        remove(core, replica, 0)
        stored = core.queue[place].input + core.queue[place].output - 1
        core.phases[replica, phase_of(core, replica, stored)] -= 1
        engine.context -= stored
        _finish(core, prefix, out, replica, place, now)
        done += 1
    if engine.mixed:
        done += _end_prompts(core, prefix, out, replica, now)
    engine.phase = FORM
    return done


@jit_inline
def _end_prompts(core: Core, prefix: Prefix, out: Out, replica: int, now: float) -> int:
    """Prompts that were computed to their end in this step give a token, and decode from the next one on."""
    engine = core.replicas[replica]
    step = engine.decode_step
    slotted = core.settings.slotted > 0
    done = 0
    place = next_read(core, replica, -1) if slotted else engine.first_prefill
    while place != NOBODY:
        request = core.queue[place]
        target = request.input + request.generated
        if request.computed < target:
            break
        after = next_read(core, replica, request.slot) if slotted else request.next
        request.segment = step
        request.generated += 1
        if request.first_s < 0.0:
            request.first_s = now
        left = request.output - request.generated
        if left == 0:
            _finish(core, prefix, out, replica, place, now)
            done += 1
        else:
            request.status = DECODING
            request.finish = step + left
            push(core, replica, (request.finish << SHIFT) | place)
            core.phases[replica, phase_of(core, replica, target)] += 1
            engine.context += target
        place = after
    if not slotted:
        engine.first_prefill = place
    return done
