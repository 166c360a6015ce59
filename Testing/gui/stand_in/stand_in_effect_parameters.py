"""Parameters and node references of a Segment Editor effect, kept in the scene's segment editor node."""

import slicer

EDITOR_NODE = slicer.vtkMRMLSegmentEditorNode


class EffectParameters:
    """What an effect keeps in `self._own.node`; its own parameters have the effect's name before theirs."""

    def parameterSetNode(self):
        return self._own.node

    def setParameterSetNode(self, node):
        self._own.node = node

    def scene(self):
        return self._own.node.GetScene() if self._own.node else None

    def parameter(self, name):
        if self._own.node is None:
            return ""
        values = [self._own.node.GetAttribute(key) for key in (f"{self.name}.{name}", name)]
        found = [v for v in values if v is not None]
        if not found:
            raise LookupError(f"effect {self.name!r} has no parameter {name!r}; set a default in setMRMLDefaults")
        return found[0]

    def integerParameter(self, name):
        return int(self.parameter(name)) if self._own.node else 0

    def doubleParameter(self, name):
        return float(self.parameter(name)) if self._own.node else 0.0

    def parameterDefined(self, name):
        return self.commonParameterDefined(f"{self.name}.{name}")

    def commonParameterDefined(self, name):
        return bool(self._own.node and self._own.node.GetAttribute(name))

    def setParameter(self, name, value):
        self.setCommonParameter(f"{self.name}.{name}", value)

    def setParameterDefault(self, name, value):
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameterDefault(self, name, value):
        if not self.commonParameterDefined(name):
            self.setCommonParameter(name, value)

    def setCommonParameter(self, name, value):
        if not isinstance(value, (str, int, float)):
            raise TypeError(f"a parameter is a text or a number, not {value!r}")
        text = str(int(value)) if isinstance(value, bool) else str(value)
        node = self._own.node
        if node is None:
            raise RuntimeError(f"effect {self.name!r} has no parameter set node yet")
        if (node.GetAttribute(name) or "") != text:
            disabled = node.GetDisableModifiedEvent()
            node.SetDisableModifiedEvent(1)
            node.SetAttribute(name, text)
            node.SetDisableModifiedEvent(disabled)
            node.InvokeCustomModifiedEvent(EDITOR_NODE.EffectParameterModified)

    def nodeReference(self, name):
        return self._own.node.GetNodeReference(f"{self.name}.{name}") or self._own.node.GetNodeReference(name)

    def setNodeReference(self, name, node):
        self.setCommonNodeReference(f"{self.name}.{name}", node)

    def setCommonNodeReference(self, name, node):
        self._own.node.SetNodeReferenceID(name, node.GetID() if node else None)
        self._own.node.InvokeCustomModifiedEvent(EDITOR_NODE.EffectParameterModified)
