"""The steps of a propagation, from its start to its end."""

SHAPE = (16, 16, 16)


def set_image(logic):
    return logic.image_operation().run()


def propagate(logic, *, cancelled=lambda: False, **where):
    return logic.apply(logic.propagation_operation(**where).run(cancelled=cancelled))
