"""What people run or look at: curves, the doctor, the launcher."""
