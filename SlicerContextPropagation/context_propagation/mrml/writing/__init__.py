"""The one way by which voxels change: who writes, what would be refused or lost."""
