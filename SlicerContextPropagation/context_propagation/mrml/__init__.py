"""The engine on nodes of an MRML scene; the scene is passed in. `ContextPropagationLogic` is the way in."""
