from roar.cli import main

main()
