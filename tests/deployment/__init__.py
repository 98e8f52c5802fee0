"""What examples/ gives people to deploy with: parsed, checked by the programs it is for, and run where that can be."""
